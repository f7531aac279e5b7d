from crewrelay.cli import main

main()
