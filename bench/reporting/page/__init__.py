"""The page of a report: one HTML file that holds everything it shows and loads nothing."""
