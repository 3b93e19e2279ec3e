"""What the numbers say: checklist and diagnosis."""
