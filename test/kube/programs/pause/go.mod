module nabustore.io/test/kube/programs/pause

go 1.26.0
