"""What a mask is: labels, coverage."""
