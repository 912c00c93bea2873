"""What a vendor's package is, is read from its bytes."""
