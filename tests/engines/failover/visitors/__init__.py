"""Tests of engines/failover/visitors."""
