"""fleet.yaml: hosts, repositories, uplinks, policies and guests, typed, with one line a mistake."""
