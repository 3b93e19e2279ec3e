"""Other training programs: the same evaluation behind their interfaces."""
