"""What people do with masks."""
