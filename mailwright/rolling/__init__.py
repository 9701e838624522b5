"""Take machines out of the traffic, change them, prove them and take them back, while the fleet serves."""
