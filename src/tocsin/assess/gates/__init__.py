"""Gates: may a candidate take over from the baseline that runs beside it?"""
