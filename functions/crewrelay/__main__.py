from crewrelay.cli.main import main

main()
