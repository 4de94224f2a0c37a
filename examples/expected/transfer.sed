# How many points the session adds, what is sent again and how fast it goes depends on the machine.
s/[0-9]+ points secured/N points secured/
s/[0-9]+ pages? sent again/N pages sent again/
s/[0-9.]+ [KMG]iB\/s$/RATE/
