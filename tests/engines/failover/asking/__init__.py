"""Tests of engines/failover/asking."""
