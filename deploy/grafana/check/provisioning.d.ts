// What Grafana's pages on provisioning say of its files; there is no package that does.

export interface Datasources {
  apiVersion: 1;
  datasources: {
    name: string;
    uid: string;
    type: 'grafana-postgresql-datasource';
    access: 'proxy';
    url: string;
    user: string;
    isDefault: boolean;
    editable: boolean;
    jsonData: {
      database: string;
      sslmode: string;
      postgresVersion: number;
      timescaledb: boolean;
      maxOpenConns: number;
      maxIdleConns: number;
      connMaxLifetime: number;
    };
    secureJsonData: { password: string };
  }[];
}

export interface Providers {
  apiVersion: 1;
  providers: {
    name: string;
    orgId: number;
    folder: string;
    folderUid: string;
    type: 'file';
    disableDeletion: boolean;
    allowUiUpdates: boolean;
    updateIntervalSeconds: number;
    options: { path: string; foldersFromFilesStructure: boolean };
  }[];
}

export interface Query {
  refId: string;
  datasource: { type: 'grafana-postgresql-datasource'; uid: 'temper' };
  editorMode: 'code';
  rawQuery: true;
  format: 'table' | 'time_series';
  rawSql: string;
}

interface Threshold {
  refId: string;
  type: 'threshold';
  datasource: { type: '__expr__'; uid: '__expr__' };
  expression: string;
  conditions: [{ evaluator: { type: 'gt' | 'lt'; params: [number] } }];
}

interface Asked<Uid, Model> {
  refId: string;
  datasourceUid: Uid;
  relativeTimeRange: { from: number; to: number };
  model: Model;
}

export interface Alerts {
  apiVersion: 1;
  groups: {
    orgId: number;
    name: string;
    folder: string;
    interval: string;
    rules: {
      uid: string;
      title: string;
      condition: string;
      data: [Asked<'temper', Query>, Asked<'__expr__', Threshold>];
      for: string;
      noDataState: 'OK' | 'NoData' | 'Alerting';
      execErrState: 'OK' | 'Error' | 'Alerting';
      annotations: Record<string, string>;
      labels: Record<string, string>;
      isPaused: boolean;
    }[];
  }[];
}
