"""Rules for texts, each named after those whose rule it is; where systems differ, the step says whose reading it is."""
