"""What is right, in slow plain Python: the native code is held against it."""
