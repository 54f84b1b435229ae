"""What trains and judges rankers offline."""
