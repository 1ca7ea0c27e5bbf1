"""The losses that pull a learner towards its teachers, a class and a module each."""
