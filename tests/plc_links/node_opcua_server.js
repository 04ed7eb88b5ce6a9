// An OPC UA server of another author: node-opcua (npm), with the arrays CTRL and STAT.
//
// `node node_opcua_server.js PORT [FOLDER]` prints the port it listens on, then serves until it is
// killed. A line on its standard input sets every word to zero and is answered with a line.
// With FOLDER it keeps its certificate there, offers Basic256Sha256 (SignAndEncrypt) beside None, and
// knows the user `line` with the password `let me in`.
"use strict";
const path = require("node:path");
const readline = require("node:readline");

const modules = path.join(__dirname, "..", "..", ".venv", "node", "node_modules");
const need = (name) => require(require.resolve(name, { paths: [modules] }));
const opcua = need("node-opcua-server");
const { DataType, Variant, VariantArrayType } = need("node-opcua-variant");
const { StatusCodes } = need("node-opcua-status-code");
const { MessageSecurityMode, SecurityPolicy } = need("node-opcua-secure-channel");
const { coerceLocalizedText } = need("node-opcua-data-model");

// Its own log would stand between our lines.
console.log = console.warn = console.error = () => {};

async function main() {
    const port = Number(process.argv[2] || 0) || (await freePort());
    const folder = process.argv[3];
    const options = {
        port,
        hostname: "127.0.0.1",
        host: "127.0.0.1",
        resourcePath: "",
        buildInfo: { productName: "test" },
        securityModes: [MessageSecurityMode.None],
        securityPolicies: [SecurityPolicy.None],
        nodeset_filename: [need("node-opcua-nodesets").nodesets.standard],
    };
    if (folder) {
        const { OPCUACertificateManager } = need("node-opcua-certificate-manager");
        const manager = new OPCUACertificateManager({
            automaticallyAcceptUnknownCertificate: false,
            rootFolder: path.join(folder, "server"),
        });
        await manager.initialize();
        options.serverCertificateManager = manager;
        options.securityModes.push(MessageSecurityMode.SignAndEncrypt);
        options.securityPolicies.push(SecurityPolicy.Basic256Sha256);
        options.allowAnonymous = true;
        options.userManager = {
            isValidUser: (user, password) => user === "line" && password === "let me in",
        };
    }
    const server = new opcua.OPCUAServer(options);
    await server.initialize();
    const words = { CTRL: new Uint16Array(16), STAT: new Uint16Array(16) };
    const space = server.engine.addressSpace.getOwnNamespace();
    for (const [name, array] of Object.entries(words)) {
        const value = () =>
            new Variant({ dataType: DataType.UInt16, arrayType: VariantArrayType.Array, value: array });
        const node = space.addVariable({
            organizedBy: server.engine.addressSpace.rootFolder.objects,
            browseName: name,
            nodeId: `s=${name}`,
            dataType: "UInt16",
            valueRank: 1,
            arrayDimensions: [16],
            accessLevel: name === "STAT" ? "CurrentRead | CurrentWrite" : "CurrentRead",
            userAccessLevel: name === "STAT" ? "CurrentRead | CurrentWrite" : "CurrentRead",
        });
        node.bindVariable(
            {
                get: value,
                set: (told) => {
                    if (told.value.length !== 16) return StatusCodes.BadTypeMismatch;
                    array.set(told.value);
                    return StatusCodes.Good;
                },
            },
            true,
        );
    }
    await server.start();
    process.stdout.write(`${port}\n`);
    readline.createInterface({ input: process.stdin }).on("line", () => {
        for (const array of Object.values(words)) array.fill(0);
        process.stdout.write("zero\n");
    });
}

function freePort() {
    return new Promise((done) => {
        const probe = require("node:net").createServer();
        probe.listen(0, "127.0.0.1", () => {
            const { port } = probe.address();
            probe.close(() => done(port));
        });
    });
}

main().catch((error) => {
    process.stderr.write(error.code === "MODULE_NOT_FOUND" ? "node-opcua is not installed\n" : `${error.stack}\n`);
    process.exit(1);
});
