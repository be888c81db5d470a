from srlm.cli import main

main()
