"""What clients speak: each route reads a request, and tells a turn or the roster in its own words."""
