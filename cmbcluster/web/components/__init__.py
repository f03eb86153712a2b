"""The kit: functions from display values to elements, with no state of their own."""
