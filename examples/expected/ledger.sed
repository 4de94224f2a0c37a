s/^listening on 127\.0\.0\.1:[0-9]+$/listening on ADDRESS/
s/^a token for alice: .*$/a token for alice: TOKEN/
s/^drained: [0-9]+ connections served, ([0-9]+) cut$/drained: \1 connections cut/
