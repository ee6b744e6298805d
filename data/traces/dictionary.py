"""Look-ups at random in a dictionary that is larger than the memory that is given to it."""

entries = {number * 7919 % 200003: str(number) for number in range(200000)}
at = 1
for _ in range(8000):
    at = at * 1103515245 % 2147483647
    entries[at % 200003] = entries.get(at * 31 % 200003, "")
print(len(entries))
