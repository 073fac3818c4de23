"""Instants that coincide, and what else the comparisons of the rules turn on: see comparisons.py."""
