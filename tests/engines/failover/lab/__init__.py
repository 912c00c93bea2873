"""Tests of engines/failover/lab."""
