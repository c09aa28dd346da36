-- run once, when PostgreSQL's data folder is new: both servers keep a table alembic_version
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
