"""Property-based tests draw the same examples each time, so that a change is judged by what it changed; what a search
with new examples finds becomes a test with a value of its own. `make search` searches.
"""

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("fixed")
