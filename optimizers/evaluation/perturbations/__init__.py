"""Inputs that say the same in another way, and inputs that try to take a prompt over."""
