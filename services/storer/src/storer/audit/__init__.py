"""Proves from the stored rows alone that every update id lies in a row or in a gap, and that what is there agrees."""
