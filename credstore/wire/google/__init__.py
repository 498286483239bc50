"""Google's ways of authenticating: OAuth tokens from google-auth, and V4 signatures of links."""
