"""Worlds that know their own answer, where a flaw can be planted at a known rate and a method
measured.
"""
