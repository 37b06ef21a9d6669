"""What a run says about itself: energy gap, gradient size, oscillation, verdict, long chains."""
