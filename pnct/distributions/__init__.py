"""The laws of a model: which orbitals are occupied (Occupation), and where the electrons are (Determinantal, Born)."""
