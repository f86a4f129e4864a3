package planlatch.baseline

finding contains {"rule": "x", "message": "y"} if false
