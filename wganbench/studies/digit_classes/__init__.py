"""Do classes of digits collapse?"""
