"""What turns reflectance into class probabilities."""
