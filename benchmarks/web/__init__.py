"""What a browser makes of nano."""
