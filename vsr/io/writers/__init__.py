"""Writers of SR movies. An output appears complete or not at all, and a killed run resumes."""
