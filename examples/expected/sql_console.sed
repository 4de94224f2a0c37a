s/^listening on 127\.0\.0\.1:[0-9]+$/listening on ADDRESS/
