"""Plugins: what looks at packets, collects figures or raises alarms beside the bond.

`api` is what a plugin is, `registry` finds those that are installed, `host` runs them and keeps
their failures away from the bond, `builtin` has the ones that come with MultiWANBond.
"""
