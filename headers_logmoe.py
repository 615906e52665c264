import numpy as np
TIME_RULES=[]; SEVERITY_RULES=[]
class Headers: pass
class HeaderReader:
    def __init__(self,a=None,b=None): pass
