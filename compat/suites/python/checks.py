"""Which checks are to run. The environment says so: ONLY, and the list in the file that NOT_YET names."""
import os, re

def wanted(name):
    return re.search(os.environ.get("ONLY", ""), name)

def not_yet(name):
    """The reason for which a check is skipped, or None."""
    if path := os.environ.get("NOT_YET"):
        for line in open(path):
            why, _, pattern = line.rstrip("\n").partition("\t")
            if pattern and not line.startswith("#") and re.fullmatch(pattern, name):
                return why
