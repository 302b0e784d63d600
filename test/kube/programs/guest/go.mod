module nabustore.io/test/kube/programs/guest

go 1.26.0
