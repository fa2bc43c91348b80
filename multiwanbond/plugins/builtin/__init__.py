"""The plugins that come with MultiWANBond; found by their entry points like all others."""
