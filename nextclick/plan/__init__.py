"""What a shop of a size needs: measured slopes, waiting, processes, memory, machines and money. Pure: a function of
what is asked, of coefficients and of prices. `nextclick.commands.plan` reads the files.
"""
