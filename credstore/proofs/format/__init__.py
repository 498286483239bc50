"""What a proof is made of and how it is verified: pure, with no store in sight."""
