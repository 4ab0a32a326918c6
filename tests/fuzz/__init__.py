"""Files, items and attributes that are nearly right: nothing but a CloudMaskError may come of them.

``make fuzz`` runs all readers for long, ``python -m fuzz --help`` says the rest, `test_fuzz` runs a few of each.
"""
