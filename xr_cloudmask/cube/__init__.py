"""What a cube is: its layout, its bands, its reflectance."""
