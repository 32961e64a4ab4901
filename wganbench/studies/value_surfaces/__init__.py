"""Do clipped critics see less of the data than penalised ones?"""
