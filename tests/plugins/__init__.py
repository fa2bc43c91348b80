"""Plugins: those that come with us, and what keeps their failures away from the bond."""
